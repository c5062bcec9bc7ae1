import { headers } from "next/headers";

export const dynamic = "force-dynamic";

// Counts the visit where it happens: on the server, with the visitor's address as the proxy in front passed it on.
async function visit() {
  const incoming = await headers();
  const passed = {};
  for (const name of ["x-forwarded-for", "user-agent", "x-request-id"]) {
    const value = incoming.get(name);
    if (value) passed[name] = value;
  }
  try {
    const answer = await fetch(`${process.env.API_URL ?? "http://backend:8080"}/api/visits?path=/`, {
      method: "POST", headers: passed, cache: "no-store", signal: AbortSignal.timeout(5000),
    });
    return answer.ok ? await answer.json() : { problem: `The API answered ${answer.status}.` };
  } catch {
    return { problem: "The API does not answer." };
  }
}

export default async function Page() {
  const { visits, version, problem } = await visit();
  return (
    <main>
      <img src="/logo.svg" alt="" width="48" height="48" />
      <h1>maicivy</h1>
      {problem && <p id="problem">{problem}</p>}
      <dl>
        <dt>Frontend version</dt>
        <dd id="frontend-version">{process.env.APP_VERSION ?? "0.0.0"}</dd>
        <dt>Backend version</dt>
        <dd id="backend-version">{version ?? "unknown"}</dd>
        <dt>Visits</dt>
        <dd id="visits">{visits ?? "unknown"}</dd>
      </dl>
    </main>
  );
}
