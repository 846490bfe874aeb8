"""Ask a model with requests: the reply is one JSON object."""
import os

import requests

url = os.environ.get("CRIA_EXAMPLE_URL", "http://127.0.0.1:11434") + "/api/generate"
payload = {
    "model": "mistral",
    "prompt": "What is the capital of France?",
    "system": "",
    "options": {"temperature": 0.7, "max_tokens": 100},
}
response = requests.post(url, json=payload, timeout=300)
response.raise_for_status()
print(response.json()["response"])
