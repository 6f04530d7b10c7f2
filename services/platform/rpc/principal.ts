/** Who calls. What each kind of caller may call is in access.ts. */
import type { CallContext } from "nice-grpc";
import type { ApiKeyRole } from "../../../gen/multinode/registry/v1/api_key_role.pb.js";

export type Principal =
  | KeyPrincipal
  | ExecutionPrincipal
  | { readonly kind: "worker"; readonly workerId: string }
  | { readonly kind: "service" };

/** A program or a person that holds an API key. */
export interface KeyPrincipal {
  readonly kind: "key";
  readonly keyId: string;
  readonly role: ApiKeyRole;
  /** The only project that exists for it. Empty: all do. */
  readonly projectName: string;
}

/** Code of a function, which shows the token of the execution that it runs in. */
export interface ExecutionPrincipal {
  readonly kind: "execution";
  readonly executionId: string;
  readonly invocationId: string;
  readonly projectName: string;
  readonly versionId: string;
}

export type PrincipalKind = Principal["kind"];

/** What handlers find in their context. */
export interface Caller {
  readonly principal: Principal;
}

export type Call = CallContext & Caller;

/** Answers who shows this bearer token, or undefined where this authority does not know it. */
export type Authority = (token: string) => Promise<Principal | undefined>;
