"""The REST API: the only room that knows HTTP. The contract is docs/api.md."""
