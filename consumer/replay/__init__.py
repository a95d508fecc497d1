"""Redis brought to what the topics say: change by change, or folded and written once for each user."""
