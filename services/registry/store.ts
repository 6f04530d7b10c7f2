/**
 * The port to what the registry keeps. It loads and saves; what a request may do is decided by its callers, inside the
 * transaction where that matters (`decide`, which may throw a Refusal and then nothing is saved).
 *
 * R1. A version is saved with its functions and becomes the latest of its project in one transaction, or not at all.
 * R2. A version never changes. It goes only with its project.
 * R3. Projects have distinct names at any moment; a name that is used again has a new project id.
 */
import type { ApiKeyRole } from "../../gen/multinode/registry/v1/api_key_role.pb.js";
import type { Code, FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import type { VersionDecision, VersionSituation } from "./domain/version_decision.js";

export interface ProjectRecord {
  readonly projectId: string;
  readonly projectName: string;
  /** Empty: no version yet. */
  readonly latestVersionId: string;
  readonly createTimeMs: number;
  readonly isDeleting: boolean;
}

export interface VersionRecord {
  readonly versionId: string;
  readonly projectId: string;
  readonly projectName: string;
  /** With the values of its environment, sealed. */
  readonly code: Code;
  readonly createTimeMs: number;
  /** Position among the versions of the project, from 1. */
  readonly number: number;
}

export interface NewVersion {
  readonly versionId: string;
  readonly projectName: string;
  /** Identifier of the project, in case it is created. */
  readonly newProjectId: string;
  readonly code: Code;
  /** Every default filled in. */
  readonly functions: readonly FunctionSpec[];
  readonly createTimeMs: number;
  /** Empty: the request is not idempotent. */
  readonly requestId: string;
  /** What must be the same in a repetition of the request. */
  readonly requestDigest: string;
  /** Requests from before are forgotten. UTC milliseconds. */
  readonly forgetRequestsBeforeMs: number;
}

export interface FunctionsOfVersion {
  readonly projectId: string;
  readonly functions: readonly FunctionSpec[];
  /** Encoded size of the functions in bytes. */
  readonly sizeBytes: number;
}

export interface StandingFunction {
  readonly projectId: string;
  readonly projectName: string;
  readonly versionId: string;
  readonly spec: FunctionSpec;
}

export interface ProjectStore {
  /** Answers the project that has the name already, or undefined when this one was saved. */
  createProject(project: ProjectRecord): Promise<ProjectRecord | undefined>;
  /** Those that exist, in no order. */
  findProjects(projectNames: readonly string[]): Promise<ProjectRecord[]>;
  /** By name, from the one after `afterName`. */
  listProjects(afterName: string | undefined, count: number): Promise<ProjectRecord[]>;
  /** Answers the project, being deleted since now or before; undefined where there is none. */
  markDeleting(projectName: string, nowMs: number): Promise<ProjectRecord | undefined>;
  /** The projects that are being deleted, those that have waited longest first. */
  listDeleting(count: number): Promise<ProjectRecord[]>;
  /** Removes a project that is being deleted, and all that belongs to it. Repeatable. */
  removeProject(projectId: string): Promise<void>;
}

export interface VersionStore {
  createVersion(
    version: NewVersion,
    decide: (situation: VersionSituation) => VersionDecision,
  ): Promise<VersionDecision>;
  findVersion(versionId: string): Promise<VersionRecord | undefined>;
  loadFunctions(versionId: string): Promise<FunctionsOfVersion | undefined>;
  /** Newest first, from the one before `beforeNumber`. */
  listVersions(projectId: string, beforeNumber: number | undefined, count: number): Promise<VersionRecord[]>;
  /** Functions of latest versions with warm workers, without projects that are being deleted. */
  listStandingFunctions(): Promise<StandingFunction[]>;
  /** Those of the digests that a version uses, as its code or as the context of its image. */
  usedBundles(digests: readonly string[]): Promise<Set<string>>;
}

export interface ApiKeyRecord {
  readonly keyId: string;
  readonly displayName: string;
  /** SHA-256 of the secret part. */
  readonly secretHash: Uint8Array;
  readonly role: ApiKeyRole;
  /** Empty: all projects. */
  readonly projectName: string;
  readonly createTimeMs: number;
  /** Undefined: it does not end to be good by itself. */
  readonly expireTimeMs: number | undefined;
  readonly revokeTimeMs: number | undefined;
}

export interface ApiKeyStore {
  createApiKey(key: ApiKeyRecord): Promise<void>;
  /** Saves the key only where there is none at all, and answers whether it did. */
  createFirstApiKey(key: ApiKeyRecord): Promise<boolean>;
  findApiKey(keyId: string): Promise<ApiKeyRecord | undefined>;
  /** Newest first, from the one before `beforeKeyId`. */
  listApiKeys(beforeKeyId: string | undefined, count: number): Promise<ApiKeyRecord[]>;
  /**
   * `decide` is given the key and how many are good, have the role ADMIN and do not expire, and throws
   * where it must not be revoked. Repeatable. Answers undefined where there is no such key.
   */
  revokeApiKey(
    keyId: string,
    nowMs: number,
    decide: (key: ApiKeyRecord, lastingAdmins: number) => void,
  ): Promise<ApiKeyRecord | undefined>;
}

export type RegistryStore = ProjectStore & VersionStore & ApiKeyStore;
