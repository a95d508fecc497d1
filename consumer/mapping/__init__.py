"""Tables, columns, keys and rules as data; the reference mapping; the mapping file and its errors."""
