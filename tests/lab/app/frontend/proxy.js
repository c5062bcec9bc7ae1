import { NextResponse } from "next/server";

// Read at run time: the same build runs under every version of the lab.
export function proxy() {
  const response = NextResponse.next();
  response.headers.set("X-App-Version", process.env.APP_VERSION ?? "0.0.0");
  return response;
}
