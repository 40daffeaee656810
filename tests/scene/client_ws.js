// client_ws.js URL COUNT [CA]: npm's ws as a consumer.
//
// Arguments, environment, input and output as in client_websockets.py.
"use strict";

const crypto = require("crypto");
const fs = require("fs");
const WebSocket = require("ws");

const [url, count, ca] = process.argv.slice(2);
const digest = crypto.createHash("sha256");
const options = {
	maxPayload: 0,
	perMessageDeflate: process.env.CLIENT_DEFLATE !== "no",
};
let messages = 0;
let kinds = "";
let last = null;

if (process.env.CLIENT_TOKEN)
	options.headers = {
		Authorization: `Bearer ${process.env.CLIENT_TOKEN}` };
if (ca)
	options.ca = fs.readFileSync(ca);

const server = new WebSocket(url, options);

function end(code, reason) {
	last = last || [code, reason];
}

server.on("open", () => {
	const lines = fs.readFileSync(0, "utf8").split("\n").filter(Boolean);
	for (const [kind, data] of lines.map((line) => JSON.parse(line)))
		server.send(Buffer.from(data, "base64"),
			{ binary: kind === "b" });
});
server.on("message", (data, binary) => {
	if (last)
		return;
	digest.update(data);
	digest.update("\n");
	messages++;
	if (messages <= 1000)
		kinds += binary ? "b" : "t";
	if (messages === Number(count)) {
		end(null, "");
		server.close(1000);
	}
});
server.on("error", (error) => {
	console.error(error.message);
	process.exitCode = 1;
});
server.on("close", (code, reason) => {
	end(code, reason.toString());
	if (process.exitCode)
		return;
	console.log(JSON.stringify({ messages, kinds, code: last[0],
		sha256: digest.digest("hex"), reason: last[1] }));
});
