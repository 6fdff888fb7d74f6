"""What the tests of ingest share: a client that sends files and asks for tables."""

import io
import itertools
import json

import pyarrow.parquet as pq
import requests


NUMBERS = itertools.count()


class Lake:
    """A server as its clients see it."""

    def __init__(self, server):
        self.server = server
        self.url = server.url
        self.table = f"t{next(NUMBERS)}"  # a name that no other test has

    def send(self, name, body, headers=None, **query):
        body = body.encode() if isinstance(body, str) else body
        return requests.post(self.url + "/v1/ingest", params={"name": name, **query}, data=body, headers=headers, timeout=120)

    def ok(self, name, body, headers=None, **query):
        answer = self.send(name, body, headers, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, name, body, status=400, headers=None, **query):
        answer = self.send(name, body, headers, **query)
        assert answer.status_code == status, answer.text
        return answer.json()["error"]["message"]

    def lines(self, name, *records, **query):
        """NDJSON of Python values."""
        return self.ok(name, "".join(json.dumps(record) + "\n" for record in records), **query)

    def rows(self, text):
        answer = requests.post(self.url + "/v1/sql", json={"sql": text, "row_format": "arrays"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]

    def types(self, name):
        fields = requests.get(f"{self.url}/v1/catalog/manifest/{name}", timeout=10).json()["schema"]["fields"]
        return {field["name"]: field["type"] for field in fields}

    def tables(self):
        return [table["name"] for table in requests.get(self.url + "/v1/catalog/list", timeout=10).json()["tables"]]

    def put(self, key, body):
        answer = requests.put(f"{self.url}/v1/storage/put/{key}", data=body, timeout=30)
        assert answer.status_code == 200, answer.text

    def register(self, name, *keys):
        return requests.post(self.url + "/v1/catalog/register", json={"name": name, "objects": list(keys)}, timeout=60)


def parquet(table, **options):
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()
