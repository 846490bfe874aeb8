"""A web service in front of the model: POST /ask {"question": "..."} answers {"answer": "..."}."""
import os

import requests
from flask import Flask, jsonify, request

app = Flask(__name__)
URL = os.environ.get("CRIA_EXAMPLE_URL", "http://127.0.0.1:11434") + "/api/generate"


@app.route("/ask", methods=["POST"])
def ask():
    question = (request.get_json(silent=True) or {}).get("question", "")
    if not question:
        return jsonify({"error": "the question is missing"}), 400
    reply = requests.post(URL, json={"model": "mistral", "prompt": question, "system": "",
                                     "options": {"temperature": 0.7, "max_tokens": 100}}, timeout=300)
    if reply.status_code != 200:
        return jsonify({"error": reply.json().get("error", "the model server failed")}), 502
    return jsonify({"answer": reply.json()["response"]})


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "5000")))
