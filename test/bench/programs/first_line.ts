/** Says when its first line ran. */
import { machineClockMs } from "../harness/clock.js";

process.send?.(machineClockMs());
process.disconnect();
