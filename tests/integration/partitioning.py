"""Rows of a partitioned table, written as PyIceberg writes them; its own append needs a library of Rust for most transforms, and this one none."""

import uuid

import pyarrow as pa
from pyiceberg.io.pyarrow import write_file
from pyiceberg.partitioning import _to_partition_representation
from pyiceberg.table import WriteTask
from pyiceberg.typedef import Record


class Key:
    """A partition by its values."""

    def __init__(self, number, values):
        self.number, self.partition = number, Record(*values)

    def to_path(self):
        return f"part-{self.number}"


def values_of(schema, spec, row):
    """A row's values in the partition."""
    values = []
    for field in spec.fields:
        source = schema.find_field(field.source_id)
        values.append(field.transform.transform(source.field_type)(_to_partition_representation(source.field_type, row[source.name])))
    return tuple(values)


def data_files(table, rows, schema=None, spec=None):
    """One file for each partition of the rows, written and described. `schema`: of the files, when it is another one than the table's."""
    spec, groups = spec or table.spec(), {}
    for row in rows:
        groups.setdefault(values_of(table.schema(), spec, row), []).append(row)
    metadata = table.metadata
    if schema:  # write_file writes the table's own
        metadata = metadata.model_copy(update={"schemas": [schema], "current_schema_id": schema.schema_id})
    schema = schema or table.schema()
    tasks, arrow = [], schema.as_arrow()
    for number, (values, members) in enumerate(groups.items()):
        batches = pa.Table.from_pylist(members, schema=arrow).to_batches()
        tasks.append(WriteTask(write_uuid=uuid.uuid4(), task_id=number, record_batches=batches, schema=schema, partition_key=Key(number, values) if spec.fields else None))
    return list(write_file(io=table.io, table_metadata=metadata, tasks=iter(tasks)))


def append(table, rows, schema=None):
    """Append rows to a table, one file a partition, in one snapshot; the files."""
    files = data_files(table, rows, schema)
    with table.transaction() as change:
        with change.update_snapshot().fast_append() as update:
            for file in files:
                update.append_data_file(file)
    table.refresh()
    return files
