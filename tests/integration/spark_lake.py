"""Spark with Iceberg's runtime, as its users have it: one session, told of a catalogue's URL and nothing else. Runs by the interpreter of
LAKEHOUSE_SPARK (./bootstrap --spark); statements come as JSON lines on standard input, and each is answered by one line."""

import datetime
import decimal
import glob
import json
import sys

from pyspark.sql import SparkSession


def plain(value):
    if isinstance(value, (datetime.date, datetime.datetime, decimal.Decimal)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def main(url):
    builder = SparkSession.builder.master("local[2]")
    for name, value in {
            "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1", "spark.ui.enabled": "false",
            "spark.jars": ",".join(glob.glob(sys.prefix + "/iceberg/*.jar")), "spark.sql.session.timeZone": "UTC", "spark.sql.shuffle.partitions": "2",
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog", "spark.sql.catalog.lake.type": "rest",
            "spark.sql.catalog.lake.uri": url, "spark.sql.defaultCatalog": "lake", "spark.sql.catalog.lake.cache-enabled": "false"}.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            answer = {"rows": [plain(tuple(row)) for row in session.sql(json.loads(line)).collect()]}
        except Exception as error:  # whatever it is, the test wants to see it
            answer = {"error": str(error)[:1000]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
