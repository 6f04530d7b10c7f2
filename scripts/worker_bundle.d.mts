export function buildWorker(folders: { readonly source: string; readonly outdir: string }): Promise<void>;
