"""The ollama Python client: a chat, streamed."""
import os

from ollama import Client

client = Client(host=os.environ.get("CRIA_EXAMPLE_URL", "http://127.0.0.1:11434"))
messages = [{"role": "user", "content": "What is the capital of France?"}]
for part in client.chat(model="mistral", messages=messages, stream=True, options={"num_predict": 100}):
    print(part["message"]["content"], end="", flush=True)
print()
