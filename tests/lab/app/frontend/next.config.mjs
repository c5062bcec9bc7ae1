/** @type {import("next").NextConfig} */
export default {
  output: "standalone",
  compress: false, // nginx does it, once
  poweredByHeader: false,
  images: { unoptimized: true },
  outputFileTracingExcludes: { "*": ["node_modules/@img/**", "node_modules/sharp/**"] },
};
