"""Where the server keeps things: one interface over SQLite and PostgreSQL."""
