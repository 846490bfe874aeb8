"""The current openai client, streaming and not."""
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("CRIA_EXAMPLE_URL", "http://127.0.0.1:11434") + "/v1", api_key="dummy-key")
messages = [{"role": "user", "content": "What is the capital of France?"}]

answer = client.chat.completions.create(model="mistral", messages=messages, max_tokens=100)
print(answer.choices[0].message.content)

for chunk in client.chat.completions.create(model="mistral", messages=messages, max_tokens=100, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
