export function hostOf(address: string, own?: readonly string[]): string;
export const CA_FILE: string;
export function ensureCertificates(hosts: readonly string[]): void;
export function leaveTls(): void;
export function usesTls(): boolean;
export function runningHolders(): string[];
export function reloadHolders(earlierHolders: readonly string[]): void;
export function refuseWrongSettings(hasInternet?: boolean): Promise<void>;
export function removeSecrets(): void;
