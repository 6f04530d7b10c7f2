// Copies the public type declarations of the package: the entry and what it imports, and nothing else.
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

// `from "x"`, `import("x")`, `import "x"`; declarations emitted by tsc hold no other form.
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)["']([^"']+)["']/g;

// What is there only with the package @types/node, which users may not have.
const NODE_TYPE = /\bNodeJS\.\w+|\bBuffer\b/;

/**
 * Fails if a reachable declaration imports something that users of the package will not have: generated code, the services, a
 * package that is no dependency; or if it names a type of Node.
 */
export function copyDeclarations({ from, to, entry, dependencies }) {
  const problems = [];
  const seen = new Set([join(from, entry)]);
  for (const file of seen) {
    if (!existsSync(file)) throw new Error(`no declaration ${file}: run \`npm run build\`, which compiles first`);
    const name = relative(from, file);
    const code = readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
    const nodeType = NODE_TYPE.exec(code)?.[0];
    if (nodeType !== undefined) problems.push(`${name} names ${nodeType}, a type of Node`);
    for (const specifier of importsOf(code)) {
      if (specifier.startsWith(".")) {
        const target = resolve(dirname(file), specifier.replace(/\.(m?)js$/, ".d.$1ts"));
        if (relative(from, target).startsWith(".."))
          problems.push(`${name} imports ${specifier}, which is not in the package`);
        else seen.add(target);
      } else if (!isAvailable(specifier, dependencies)) {
        problems.push(`${name} imports ${specifier}, which is no dependency of the package`);
      }
    }
  }
  if (problems.length > 0)
    throw new Error(["The public types reach what users do not have:", ...problems].join("\n  "));
  for (const file of seen) {
    const target = join(to, relative(from, file));
    mkdirSync(dirname(target), { recursive: true });
    cpSync(file, target);
  }
}

function importsOf(code) {
  return [...code.matchAll(IMPORT)].map((match) => match[1]);
}

function isAvailable(specifier, dependencies) {
  const [scope, name] = specifier.split("/");
  return (scope.startsWith("@") ? `${scope}/${name}` : scope) in dependencies;
}
