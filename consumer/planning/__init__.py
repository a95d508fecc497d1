"""What follows from a change: what differs, the plan, linked tables, messages, healing. Pure."""
