"""Ledger for AI assistants: an MCP server on stdio whose tools are requests to the HTTP API, made in this process."""
