#!/bin/sh
# The OpenAI API with a dummy key.
curl -sS "${CRIA_EXAMPLE_URL:-http://127.0.0.1:11434}/v1/chat/completions" \
  -H "Content-Type: application/json" -H "Authorization: Bearer dummy-key" -d '{
  "model": "mistral",
  "messages": [{"role": "user", "content": "What is the capital of France?"}],
  "max_tokens": 100
}'
