"""The openai 0.28 client. Its api_base here has no /v1, so it posts to /chat/completions."""
import os

import openai

openai.api_base = os.environ.get("CRIA_EXAMPLE_URL", "http://127.0.0.1:11434")
openai.api_key = "dummy-key"

stream = openai.ChatCompletion.create(
    model="mistral",
    messages=[{"role": "user", "content": "What is the capital of France?"}],
    max_tokens=100,
    stream=True,
)
for chunk in stream:
    print(chunk["choices"][0]["delta"].get("content", ""), end="", flush=True)
print()
