"""The version guard: which of two changes of a user is the newer, and which records Debezium has sent before."""
