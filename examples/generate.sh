#!/bin/sh
# One answer from /api/generate. Without "stream" a client that does not ask for NDJSON gets one JSON object.
curl -sS "${CRIA_EXAMPLE_URL:-http://127.0.0.1:11434}/api/generate" -H "Content-Type: application/json" -d '{
  "model": "mistral",
  "prompt": "What is the capital of France?",
  "system": "",
  "options": {"temperature": 0.7, "max_tokens": 100}
}'
