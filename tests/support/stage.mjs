// A gateway over the strict vendors of tests/support/vendors: stage.py, spoken to in lines.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const root = process.env.MOONGATE_SOURCE_DIR;

// { url, key, vendors: { anthropic: { say(...turns), look(), closed() }, … }, close() }
export async function start() {
  const child = spawn(`${root}/build/venv/bin/python`, [`${root}/tests/support/stage.py`], {
    stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, PYTHONPATH: `${root}/tests/support`, PYTHONDONTWRITEBYTECODE: "1" } });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let last = Promise.resolve();
  const read = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error("the stage has ended");
    return JSON.parse(value);
  };
  const order = (what) => {
    last = last.then(() => { child.stdin.write(JSON.stringify(what) + "\n"); return read(); });
    return last;
  };
  const { url, key, data } = await read();
  const vendor = (name) => ({
    say: (...turns) => order({ vendor: name, say: turns }), look: () => order({ vendor: name, look: true }), closed: () => order({ vendor: name, closed: true }) });
  const vendors = Object.fromEntries(["openai_chat", "openai_responses", "anthropic", "gemini"].map((name) => [name, vendor(name)]));
  const close = async () => {
    child.stdin.end();
    const code = await ended;
    if (code !== 0) throw new Error(`the stage ended with ${code}`);
  };
  return { url, key, data, vendors, close };
}
