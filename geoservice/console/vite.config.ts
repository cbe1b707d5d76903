/** Two pages, /console/ and /phone/; everything else is hashed, lies under /assets/, and is packed beforehand. */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Where `npm run dev` finds a service, for whatever is no file of ours. */
const SERVICE = process.env.SERVICE_URL ?? "http://127.0.0.1:8080";
const PACKED = /\.(html|m?js|css|svg|json|geojson)$/;
const SMALLEST_PACKED_BYTES = 1024;

/** Writes FILE.br and FILE.gz beside each file that shrinks: the service answers with them as they are. */
function packBeforehand(): Plugin {
  let folder = "";
  return {
    name: "pack-beforehand",
    apply: "build",
    configResolved: (config) => {
      folder = join(config.root, config.build.outDir);
    },
    closeBundle: () => {
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        const path = join(folder, name);
        if (!PACKED.test(name) || statSync(path).size < SMALLEST_PACKED_BYTES) continue;
        const content = readFileSync(path);
        writeFileSync(`${path}.br`, brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }));
        writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  appType: "mpa",
  build: {
    target: "es2023",
    assetsInlineLimit: 0, // nothing that the Content-Security-Policy would have to allow
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1200, // the map library
    rolldownOptions: {
      input: ["console/index.html", "phone/index.html"],
      output: { codeSplitting: { groups: [{ name: "maplibre", test: /node_modules\/(maplibre-gl|@maplibre|@mapbox)\// }] } },
    },
  },
  server: {
    proxy: {
      "^/(v1|readyz|healthz|metrics|openapi\\.json|pages\\.json|demo)": { target: SERVICE },
    },
  },
  plugins: [packBeforehand()],
});
