"""One PyIceberg writer beside others: iceberg_client.py CATALOG WHAT TABLE SECONDS NAME

CATALOG is JSON of load_catalog's properties. WHAT is "properties" (commits that set one property) or "appends" (of 1,000 rows). Waits for a line on
standard input, works for SECONDS, and prints how many commits succeeded. A commit that lost its race is made again on the table as it is then.
"""

import json
import sys
import time

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException


def main(catalog, what, name, seconds, mine):
    table = load_catalog("bench", **json.loads(catalog)).load_table(name)
    rows = pa.table({"id": pa.array(range(1000), pa.int64()), "word": ["w"] * 1000})
    print("ready", flush=True)
    sys.stdin.readline()
    end, done = time.perf_counter() + float(seconds), 0
    while time.perf_counter() < end:
        try:
            if what == "properties":
                with table.transaction() as transaction:
                    transaction.set_properties({mine: str(done + 1)})
            else:
                table.append(rows)
            done += 1
        except CommitFailedException:
            table.refresh()
        except Exception as error:  # SQLite's "database is locked" comes wrapped in one of SQLAlchemy's
            if "locked" not in str(error):
                raise
            table.refresh()
    print(done)


if __name__ == "__main__":
    main(*sys.argv[1:])
