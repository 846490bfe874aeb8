// Uses a server as JavaScript programs do, with the packages ollama and openai, and prints as JSON what it saw.
// node drive.mjs URL DIGEST: the server has the models smollm2 and all-minilm; DIGEST is the blob of smollm2's file.
import { Ollama } from "ollama";
import OpenAI from "openai";

const [url, digest] = process.argv.slice(2);
const ollama = new Ollama({ host: url });
const openai = new OpenAI({ baseURL: url + "/v1", apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const model = "smollm2";
const options = { temperature: 0, num_predict: 12 };
const long = { model, prompt: "Write a very long story.", options: { num_predict: 4000, num_ctx: 8192 } };

async function collect(parts) {
	const all = [];
	for await (const part of parts) all.push(part);
	return all;
}

// What an action that must fail says.
async function failure(action) {
	try {
		await action();
		return null;
	} catch (e) {
		return { name: e.constructor.name, status: e.status_code ?? e.status ?? null, message: e.message };
	}
}

// Each action returns what the test looks at.
const actions = {
	version: () => ollama.version(),
	list: async () => (await ollama.list()).models.map((m) => m.name),
	show: async () => {
		const r = await ollama.show({ model });
		return { family: r.details.family, capabilities: r.capabilities, arch: r.model_info["general.architecture"] };
	},
	generate: () => ollama.generate({ model, prompt: messages[0].content, options }),
	generate_stream: async () => collect(await ollama.generate({ model, prompt: messages[0].content, options, stream: true })),
	generate_image: () => failure(() => ollama.generate({ model, prompt: "x", options, images: [new Uint8Array([1, 2, 3])] })),
	chat: () => ollama.chat({ model, messages, options }),
	chat_stream: async () => collect(await ollama.chat({ model, messages, options, stream: true })),
	chat_json: async () => {
		const format = { type: "object", properties: { city: { type: "string", maxLength: 20 } }, required: ["city"] };
		return JSON.parse((await ollama.chat({ model, messages, format, options: { temperature: 0, num_predict: 60 } })).message.content);
	},
	embed: async () => (await ollama.embed({ model: "all-minilm", input: ["one", "two"] })).embeddings.map((e) => e.length),
	embeddings: async () => (await ollama.embeddings({ model: "all-minilm", prompt: "one" })).embedding.length,
	create: async () => {
		const parts = await collect(await ollama.create({ model: "node-a", files: { "m.gguf": digest }, system: "Be brief.", stream: true }));
		return parts.map((p) => p.status);
	},
	create_from: async () => (await ollama.create({ model: "node-b", from: "node-a", parameters: { temperature: 0.5, stop: ["x"] } })).status,
	copy: async () => (await ollama.copy({ source: "node-b", destination: "node-c" })).status,
	show_copy: async () => (await ollama.show({ model: "node-c" })).parameters,
	delete: async () => {
		const said = [];
		for (const name of ["node-a", "node-b", "node-c"]) said.push((await ollama.delete({ model: name })).status);
		return said;
	},
	show_deleted: () => failure(() => ollama.show({ model: "node-a" })),
	unknown_model: () => failure(() => ollama.chat({ model: "nothing-here", messages, stream: true })),
	ps: async () => (await ollama.ps()).models.map((m) => m.name),
	abort_stream: async () => {
		let n = 0;
		const parts = await ollama.generate({ ...long, stream: true });
		const error = await failure(async () => {
			for await (const part of parts) if (++n === 3) parts.abort();
		});
		return { n, error };
	},
	abort_all: async () => {
		let n = 0;
		const parts = await Promise.all([1, 2, 3].map(() => ollama.generate({ ...long, stream: true })));
		const errors = parts.map((p) => failure(async () => {
			for await (const part of p) if (++n === 9) ollama.abort();
		}));
		return (await Promise.all(errors)).map((e) => e?.name);
	},
	abort_fetch: async () => {
		const abort = new AbortController();
		setTimeout(() => abort.abort(), 500);
		const body = JSON.stringify({ ...long, stream: false });
		return failure(() => fetch(url + "/api/generate", { method: "POST", body, signal: abort.signal }));
	},
	unload: async () => (await ollama.generate({ model, prompt: "", keep_alive: 0 })).done_reason,
	openai_models: async () => (await collect(await openai.models.list())).map((m) => m.id),
	openai_chat: () => openai.chat.completions.create({ model, messages, temperature: 0, max_tokens: 12 }),
	openai_stream: async () => collect(await openai.chat.completions.create({ model, messages, temperature: 0, max_tokens: 12, stream: true,
		stream_options: { include_usage: true } })),
	openai_stream_helper: async () => {
		const stream = openai.chat.completions.stream({ model, messages, temperature: 0, max_tokens: 12 });
		return (await stream.finalChatCompletion()).choices[0];
	},
	openai_abort: async () => {
		let n = 0;
		const stream = await openai.chat.completions.create({ model, messages: [{ role: "user", content: long.prompt }], stream: true, max_tokens: 2000 });
		const error = await failure(async () => {
			for await (const chunk of stream) if (++n === 3) stream.controller.abort();
		});
		return { n, error };
	},
	openai_completion: () => openai.completions.create({ model, prompt: "One, two, three,", max_tokens: 6, temperature: 0 }),
	openai_embeddings: async () => {
		const r = await openai.embeddings.create({ model: "all-minilm", input: ["one", "two"] });
		return r.data.map((d) => [d.index, d.embedding.length]);
	},
	openai_unknown_model: () => failure(() => openai.chat.completions.create({ model: "nothing-here", messages })),
	generate_after: () => ollama.generate({ model, prompt: "Hi", options: { num_predict: 2 } }),
};

const saw = {};
for (const [name, action] of Object.entries(actions)) {
	const started = Date.now();
	try {
		saw[name] = await action();
	} catch (e) {
		saw[name] = { failed: String(e) };
	}
	console.error(`${name}: ${Date.now() - started} ms`);
}
console.log(JSON.stringify(saw));
