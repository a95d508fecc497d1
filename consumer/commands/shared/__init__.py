"""What several commands share: options, texts of wrong usage, how to stop, a row written anew."""
