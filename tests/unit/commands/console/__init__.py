"""The console without servers: who may see and do what, and that nothing of a row becomes markup."""
