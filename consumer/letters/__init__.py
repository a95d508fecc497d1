"""Dead letters listed, shown and put through the pipeline again."""
