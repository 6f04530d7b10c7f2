import { getDeployedFunction, openClient } from "multinode";

const client = openClient({ apiUrl: "https://localhost:7400", apiKey: process.argv[2] });
const f = getDeployedFunction({ projectName: "hp", functionName: "one", client });
for (let i = 0; i < 200; i++) await f.callRemote(i);
const q = (l) => {
  l.sort((a, b) => a - b);
  return `p50 ${l[l.length >> 1].toFixed(1)} p90 ${l[Math.floor(l.length * 0.9)].toFixed(1)}`;
};
const n = Number(process.argv[3]);
{
  const a = [],
    b = [];
  for (let i = 0; i < n; i++) {
    const t = performance.now();
    const id = await f.start(i);
    a.push(performance.now() - t);
    await f.awaitResult(id);
    b.push(performance.now() - t);
    if (n < 50) {
      console.log(new Date().toISOString(), "end of", i);
      await new Promise((r) => setTimeout(r, 20));
    }
  }
  console.log("start ", q(a), "result", q(b));
}
await client.close();
