const lines = require("readline").createInterface({ input: process.stdin });
const say = (object) => process.stdout.write(JSON.stringify(object) + "\n");

lines.on("line", (line) => {
	const { event, conn, seq, text, base64 } = JSON.parse(line);
	if (event === "message")
		say({ send: { conn, text, base64 } });
	say({ done: seq });
});
