/** Starts the search, shows how it goes, and draws the tour: `node application/main.ts [tour.svg]`. */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { getDeployedFunction, MultinodeError } from "multinode";
import { BERLIN52 } from "../tasks/berlin52.ts";
import type * as tasks from "../tasks/main.ts";
import { describeProgress, gapPercent, ProgressLine } from "./progress.ts";
import { tourSvg } from "./tour_svg.ts";

const [svgFile = fileURLToPath(new URL("../tour.svg", import.meta.url))] = process.argv.slice(2);
const solve = getDeployedFunction<typeof tasks.solve>({ projectName: "tsp", functionName: "solve" });

try {
  await run();
} catch (error) {
  if (!(error instanceof MultinodeError)) throw error;
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}

async function run(): Promise<void> {
  const startedAtMs = performance.now();
  const invocationId = await solve.start();
  console.log(`berlin52: started ${invocationId}`);

  const line = new ProgressLine(process.stdout);
  for await (const { status, result } of solve.watch(invocationId)) {
    line.show(result === undefined ? `${status.toLowerCase()} ...` : describeProgress(result));
  }
  line.end();

  const { bestLength, bestTour, optimum } = await solve.awaitResult(invocationId);
  const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
  const gap = gapPercent(bestLength, optimum).toFixed(2);
  console.log(`length ${bestLength} (optimum ${optimum}, ${gap} % above) after ${seconds} s`);
  console.log(`tour   ${bestTour.map((city) => city + 1).join(" ")}`);
  await writeFile(svgFile, tourSvg(BERLIN52, bestTour, `berlin52: a tour of length ${bestLength}`));
  console.log(`drawn  ${svgFile}`);
}
