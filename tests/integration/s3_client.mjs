// Amazon's SDK for JavaScript goes through what it does; prints one JSON object. Run where node_modules are.
import { createRequire } from "module";
const require = createRequire(process.argv[2] + "/");
const { S3Client, CreateBucketCommand, PutObjectCommand, GetObjectCommand, ListObjectsV2Command, DeleteObjectsCommand, CopyObjectCommand, DeleteBucketCommand } = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { Readable } = require("stream");

const s3 = new S3Client({ endpoint: process.argv[3], region: "us-east-1", forcePathStyle: true, credentials: { accessKeyId: "main", secretAccessKey: "main-secret" } });
const Bucket = "javascript", text = "hello";
const told = { checksums: {} };
await s3.send(new CreateBucketCommand({ Bucket }));
await s3.send(new PutObjectCommand({ Bucket, Key: "a b/ü", Body: text, Metadata: { colour: "blue" } }));
await s3.send(new PutObjectCommand({ Bucket, Key: "stream", Body: Readable.from([Buffer.alloc(100000, 7)]), ContentLength: 100000 }));
const got = await s3.send(new GetObjectCommand({ Bucket, Key: "a b/ü", ChecksumMode: "ENABLED" }));
told.text = await got.Body.transformToString();
told.metadata = got.Metadata;
await s3.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: Bucket + "/" + encodeURIComponent("a b/ü") }));
for (const algorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
    const answer = await s3.send(new PutObjectCommand({ Bucket, Key: algorithm, Body: text, ChecksumAlgorithm: algorithm }));
    told.checksums[algorithm] = answer["Checksum" + algorithm];
}
const big = Buffer.alloc(17 << 20, "0123456789abc");
await new Upload({ client: s3, params: { Bucket, Key: "big", Body: Readable.from([big]) } }).done();
const back = await (await s3.send(new GetObjectCommand({ Bucket, Key: "big" }))).Body.transformToByteArray();
told.big = Buffer.compare(Buffer.from(back), big);
const list = await s3.send(new ListObjectsV2Command({ Bucket }));
told.keys = list.Contents.map((o) => o.Key);
told.deleted = (await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: told.keys.map((Key) => ({ Key })) } }))).Deleted.length;
await s3.send(new DeleteBucketCommand({ Bucket }));
console.log(JSON.stringify(told));
