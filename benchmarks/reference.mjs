// Node's share of the work, without any library: `node --expose-gc reference.mjs WORK URL NUMBER`.
// The same measurements as in measure.py; the result is one line of JSON.

const [work, url, count] = process.argv.slice(2)
const number = Number(count)
const now = () => performance.now() / 1000
const quantile = (values, part) => values.sort((a, b) => a - b)[Math.floor((values.length - 1) * part)]

function stopwatch() {
  const wall = []
  const cpu = []
  return {
    async batch(size, act) {
      const began = now()
      const used = process.cpuUsage()
      const result = await act()
      const { user, system } = process.cpuUsage(used)
      wall.push((now() - began) / size)
      cpu.push((user + system) / 1e6 / size)
      return result
    },
    result: () => ({ wall: quantile(wall, 0.25), cpu: quantile(cpu, 0.5) }),
  }
}

const resident = () => {
  globalThis.gc()
  return process.memoryUsage.rss()
}

async function getJson(address, init) {
  const response = await fetch(address, init)
  if (!response.ok) throw new Error(`${response.status}`)
  return response.json()
}

const status = () => getJson(`${url}/v2/backend/b/status`)
const connect = () =>
  getJson(`${url}/v2/service/acme/whiteboard/connect`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${'t'.repeat(43)}` },
    body: JSON.stringify({ key: 'my-key', user: 'my-user', spawn: { max_idle_seconds: 60 } }),
  })

async function calls(call) {
  for (let i = 0; i < 300; i++) await call() // V8 compiles what is hot
  const watch = stopwatch()
  for (let i = 0; i < number / 10; i++) {
    await watch.batch(10, async () => {
      for (let j = 0; j < 10; j++) await call()
    })
  }
  return watch.result()
}

const allAtOnce = () => Promise.all(Array.from({ length: 64 }, status))

async function batches() {
  for (let i = 0; i < 5; i++) await allAtOnce()
  const watch = stopwatch()
  for (let i = 0; i < Math.max(3, number / 64); i++) await watch.batch(64, allAtOnce)
  return watch.result()
}

async function* events(backend) {
  const response = await fetch(`${url}/v2/backend/${backend}/status/stream`)
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of response.body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop()
    for (const line of lines) if (line.startsWith('data: ')) yield JSON.parse(line.slice(6))
  }
}

async function follow() {
  const states = events('b')
  // `next` instead of `for await`, which would close the stream on the way out
  while ((await states.next()).value.status !== 'ready');
  return states
}

async function streams(atOnce = number) {
  const open = (count) => Promise.all(Array.from({ length: count }, follow))
  const kept = [await open(5)]
  const before = resident()
  const watch = stopwatch()
  await watch.batch(1, async () => {
    for (let i = 0; i < number; i += atOnce) kept.push(await open(atOnce))
  })
  return { ...watch.result(), bytes: (resident() - before) / number }
}

async function streamLength() {
  const run = async () => {
    for await (const _ of events(`long-${number}`));
  }
  await run()
  const watch = stopwatch()
  for (let i = 0; i < 5; i++) await watch.batch(1, run)
  return watch.result()
}

const works = {
  status: () => calls(status),
  async_status: () => calls(status),
  async_status_64: batches,
  connect: () => calls(connect),
  async_streams: () => streams(),
  async_streams_by_100: () => streams(100),
  thread_streams: () => streams(),
  stream_length: streamLength,
  async_stream_length: streamLength,
  first_status: status,
}

console.log(JSON.stringify(await works[work]()))
process.exit(0)
