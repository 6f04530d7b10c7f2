/**
 * The certificate of this service, and the authority that it trusts: for its server and for its clients. The files are
 * read again now and then, so that renewed ones are used without a restart.
 *
 * T1. Every peer shows a certificate of the authority. A client checks that the server's one is for the host that it asked
 *     for.
 * T2. Files that do not fit together are refused at the start. Later they are reported, and the last good ones kept.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { type ChannelCredentials, experimental, type ServerCredentials } from "@grpc/grpc-js";
import type { Logger } from "../log.js";

/** Paths of files in PEM. */
export interface CertificateFiles {
  /** This service's certificate, and those between it and the authority's. */
  readonly cert: string;
  readonly key: string;
  /** Certificates of the authority. */
  readonly ca: string;
}

interface Material {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  readonly goodUntil: Date;
}

const READ_INTERVAL_MS = 60_000;
const DAY_MS = 24 * 60 * 60 * 1_000;
/** How long before its end a certificate is complained of, once a day. */
const SOON_MS = 14 * DAY_MS;

type Provider = experimental.CertificateProvider;

export class Certificates {
  readonly #files: CertificateFiles;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  readonly #authorityListeners = new Set<experimental.CaCertificateUpdateListener>();
  readonly #identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();
  readonly #provider: Provider;
  #material: Material;
  /** In monotonic time. */
  #warnedAt = Number.NEGATIVE_INFINITY;

  /** @throws Error that names the file, where they cannot be read or do not fit together */
  constructor(files: CertificateFiles, log: Logger) {
    this.#files = files;
    this.#log = log;
    this.#material = readMaterial(files);
    this.#provider = this.#provide();
    this.#warnOfEnd();
    this.#timer = setInterval(() => this.readAgain(), READ_INTERVAL_MS);
    this.#timer.unref();
  }

  /** For a server whose clients must show a certificate too, unless `anyClient`. */
  server({ anyClient = false } = {}): ServerCredentials {
    // The first is the identity, whatever its name in the library's types.
    const create = experimental.createCertificateProviderServerCredentials;
    return anyClient ? create(this.#provider, null, false) : create(this.#provider, this.#provider, true);
  }

  client(): ChannelCredentials {
    return experimental.createCertificateProviderChannelCredentials(this.#provider, this.#provider);
  }

  readAgain(): void {
    try {
      const material = readMaterial(this.#files);
      const isSame = (["cert", "key", "ca"] as const).every((part) => material[part].equals(this.#material[part]));
      if (isSame) {
        this.#warnOfEnd();
        return;
      }
      this.#material = material;
      this.#log.info("new certificates are used from now on");
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.error({ reason }, "new certificates are not used");
      return;
    }
    for (const listener of this.#authorityListeners) listener({ caCertificate: this.#material.ca });
    for (const listener of this.#identityListeners) listener(this.#identity());
  }

  #warnOfEnd(): void {
    const { goodUntil } = this.#material;
    const now = performance.now();
    if (goodUntil.getTime() - Date.now() > SOON_MS || now - this.#warnedAt < DAY_MS) return;
    this.#warnedAt = now;
    this.#log.warn({ goodUntil, file: this.#files.cert }, "a certificate ends soon: renew it");
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #identity(): experimental.IdentityCertificateUpdate {
    return { certificate: this.#material.cert, privateKey: this.#material.key };
  }

  /** Listeners are told in a later turn, as the library expects. */
  #provide(): Provider {
    return {
      addCaCertificateListener: (listener) => {
        this.#authorityListeners.add(listener);
        process.nextTick(() => listener({ caCertificate: this.#material.ca }));
      },
      removeCaCertificateListener: (listener) => this.#authorityListeners.delete(listener),
      addIdentityCertificateListener: (listener) => {
        this.#identityListeners.add(listener);
        process.nextTick(() => listener(this.#identity()));
      },
      removeIdentityCertificateListener: (listener) => this.#identityListeners.delete(listener),
    };
  }
}

function readMaterial({ cert, key, ca }: CertificateFiles): Material {
  const files = { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) };
  const certificate = parsed(cert, "certificate", () => new X509Certificate(files.cert));
  const material = { ...files, goodUntil: new Date(certificate.validTo) };
  const privateKey = parsed(key, "private key", () => createPrivateKey(material.key));
  parsed(ca, "certificate", () => new X509Certificate(material.ca));
  if (!certificate.checkPrivateKey(privateKey)) throw new Error(`${key} is not the private key of ${cert}`);
  if (material.goodUntil.getTime() < Date.now()) throw new Error(`${cert} was good until ${certificate.validTo} only`);
  // A peer would break off the connection without saying why.
  if (!isIssuedBy(certificatesIn(material.cert), certificatesIn(material.ca))) {
    throw new Error(`${cert} was not issued by the authority of ${ca}`);
  }
  createSecureContext(material);
  return material;
}

function certificatesIn(pem: Buffer): X509Certificate[] {
  const blocks = pem.toString("latin1").match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** Whether the first of the chain leads, over others of it, to one of the authority's. */
function isIssuedBy([first, ...between]: readonly X509Certificate[], authority: readonly X509Certificate[]): boolean {
  if (first === undefined) return false;
  const isIssuer = (issuer: X509Certificate) => first.checkIssued(issuer) && first.verify(issuer.publicKey);
  if (authority.some(isIssuer)) return true;
  const next = between.find(isIssuer);
  return next !== undefined && isIssuedBy([next, ...between.filter((other) => other !== next)], authority);
}

function parsed<T>(file: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new Error(`${file} holds no ${what} in PEM`, { cause });
  }
}
