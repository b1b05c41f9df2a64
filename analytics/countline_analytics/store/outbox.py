"""The outbox of analytics."""

from sqlalchemy import MetaData

from countline_common.data.outbox import outbox_table

outbox = outbox_table(MetaData(schema="analytics"))
