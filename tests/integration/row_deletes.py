"""Delete files as other engines write them, by position and by value; PyIceberg, whose manifests and commits these stand on, writes none."""

import itertools
import os
import time
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import (DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestWriterV2, write_manifest_list)
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, AssertTableUUID, SetSnapshotRefUpdate
from pyiceberg.typedef import Record

PATH_ID, POSITION_ID = 2147483546, 2147483545
numbers = itertools.count(1)


class DeleteManifest(ManifestWriterV2):
    def content(self):
        return ManifestContent.DELETES

    @property
    def _meta(self):
        return {**super()._meta, "content": "deletes"}


def field(name, kind, field_id):
    return pa.field(name, kind, metadata={"PARQUET:field_id": str(field_id)})


def new_path(table, ending):
    return f"{table.location()}/data/delete-{next(numbers)}-{uuid.uuid4()}.{ending}"


def entry(table, path, data, content, partition=None, spec_id=None, file_format=FileFormat.PARQUET, **more):
    with table.io.new_output(path).create(overwrite=False) as sink:
        pq.write_table(data, sink)
    file = DataFile.from_args(content=content, file_path=path, file_format=file_format, partition=partition or Record(), record_count=data.num_rows,
                              file_size_in_bytes=len(table.io.new_input(path)), **more)
    file.spec_id = table.spec().spec_id if spec_id is None else spec_id
    return file


def by_position(table, rows, partition=None, file_format=FileFormat.PARQUET):
    """`rows`: [(path of a data file, position), ...]."""
    rows = sorted(rows)
    data = pa.table([pa.array([path for path, _ in rows]), pa.array([at for _, at in rows], pa.int64())],
                    schema=pa.schema([field("file_path", pa.string(), PATH_ID), field("pos", pa.int64(), POSITION_ID)]))
    return entry(table, new_path(table, "parquet"), data, DataFileContent.POSITION_DELETES, partition, file_format=file_format)


def by_value(table, data, ids, partition=None, spec_id=None):
    """`data`: a pyarrow table whose fields carry their ids; rows that agree in `ids` are gone."""
    return entry(table, new_path(table, "parquet"), data, DataFileContent.EQUALITY_DELETES, partition, spec_id, equality_ids=ids)


def updates_of(table, deletes):
    """A snapshot that adds delete files to the current one."""
    base, metadata = table.current_snapshot(), table.metadata
    snapshot_id, sequence = int.from_bytes(os.urandom(6), "big"), metadata.last_sequence_number + 1
    manifests = []
    for spec_id in sorted({file.spec_id for file in deletes}):
        output = table.io.new_output(f"{table.location()}/metadata/{uuid.uuid4()}-m0.avro")
        with DeleteManifest(metadata.specs()[spec_id], table.schema(), output, snapshot_id, "deflate") as writer:
            for file in deletes:
                if file.spec_id == spec_id:
                    writer.add_entry(ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, data_file=file))
        manifests.append(writer.to_manifest_file())
    listed = f"{table.location()}/metadata/snap-{snapshot_id}-0-{uuid.uuid4()}.avro"
    with write_manifest_list(2, table.io.new_output(listed), snapshot_id, base.snapshot_id, sequence, "deflate") as writer:
        writer.add_manifests([*base.manifests(table.io), *manifests])
    totals = {key: value for key, value in base.summary.additional_properties.items() if key.startswith("total-")}
    snapshot = Snapshot(snapshot_id=snapshot_id, parent_snapshot_id=base.snapshot_id, sequence_number=sequence, timestamp_ms=int(time.time() * 1000),
                        manifest_list=listed, summary=Summary(Operation.DELETE, **totals), schema_id=metadata.current_schema_id)
    return (AddSnapshotUpdate(snapshot=snapshot), SetSnapshotRefUpdate(ref_name="main", type=SnapshotRefType.BRANCH, snapshot_id=snapshot_id))


def commit(table, *deletes):
    """Through the table's catalogue."""
    requirements = (AssertTableUUID(uuid=table.metadata.table_uuid), AssertRefSnapshotId(ref="main", snapshot_id=table.current_snapshot().snapshot_id))
    table.catalog.commit_table(table, requirements, updates_of(table, deletes))
    table.refresh()


def data_paths(table):
    """The data files; not by a plan, because PyIceberg plans no table with deletes by value."""
    manifests = [manifest for manifest in table.current_snapshot().manifests(table.io) if manifest.content == ManifestContent.DATA]
    return [entry.data_file.file_path for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)]
