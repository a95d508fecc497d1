"""The version guard: which of two changes of a user is newer, and which changes Debezium has sent before."""
