"""What protects the gateway from callers: rate limits and CORS."""
