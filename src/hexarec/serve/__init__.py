"""The served product: store, HTTP API, MCP, jobs and online experiments (extra `serve`)."""
