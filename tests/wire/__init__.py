"""The same changes in every wire format that Debezium can be told to use."""
