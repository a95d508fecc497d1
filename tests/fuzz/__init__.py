"""``make fuzz``: damaged input of every kind, and the rules that hold for each of them."""
