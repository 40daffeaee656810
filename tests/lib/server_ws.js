// server_ws.js: npm's ws as a server, until stdin ends.
//
// The argument: options of its permessage-deflate, in JSON.  Prints
// {"port": N}.  By the path of a connection:
//   /count/N     N messages "0", "1", ...
//   /ticks/N     N messages {"n":0,"text":""}, {"n":1,"text":"tick "}, ...
//   /echo        what it gets
//   /close/CODE  a close with that code and the reason "node says CODE"
//   /big/BYTES   one message of so many x, as several fragments
"use strict";

const WebSocket = require("ws");

const server = new WebSocket.Server(
	{ host: "127.0.0.1", port: 0, perMessageDeflate: JSON.parse(process.argv[2]) });

server.on("listening", () => console.log(
	JSON.stringify({ port: server.address().port })));

server.on("connection", (socket, request) => {
	const [, what, arg] = request.url.split("/");

	socket.on("error", () => {});
	if (what === "count") {
		for (let i = 0; i < Number(arg); i++)
			socket.send(String(i));
	} else if (what === "ticks") {
		for (let i = 0; i < Number(arg); i++)
			socket.send(JSON.stringify(
				{ n: i, text: "tick ".repeat(i % 500) }));
	} else if (what === "echo") {
		socket.on("message", (data, binary) =>
			socket.send(data, { binary }));
	} else if (what === "close") {
		socket.close(Number(arg), `node says ${arg}`);
	} else if (what === "big") {
		const piece = "x".repeat(1000);

		for (let left = Number(arg); left > 0; left -= 1000)
			socket.send(piece.slice(0, left), { fin: left <= 1000 });
	}
});

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
