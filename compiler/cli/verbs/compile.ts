/** `spc compile`: model in, source files out. */
import { SpcError } from '../../diagnostics/diagnostic.js';
import { writeFiles, type CompileResult } from '../../driver.js';
import { formatBytes } from '../../io/format.js';
import { exitCodes } from '../exit-codes.js';
import { compileFromFlags, readModelFile } from '../source.js';
import type { RunVerb } from '../verb.js';

export const run: RunVerb = async ([path], flags, terminal) => {
  const { output, dryRun, printIrAfter } = flags;
  if (output === undefined && !dryRun) {
    throw new SpcError([{ code: 'SPC6002', severity: 'error', message: 'where should the files go?', hint: 'add -o DIR, or --dry-run to write nothing' }]);
  }
  const compiled = await compileFromFlags(readModelFile(path!, flags), flags, terminal, {
    passes: {
      ...(printIrAfter ? { printIrAfter: printIrAfter.length === 1 && (printIrAfter[0] === 'all' || printIrAfter[0] === 'change') ? printIrAfter[0] : printIrAfter } : {}),
      ...(flags.verifyEach ? { verifyEach: true } : {}), ...(flags.timePasses ? { timePasses: true } : {}),
      ...(flags.stopAfter ? { stopAfter: flags.stopAfter } : {}),
      onPrint: (pass, text) => process.stderr.write(`// after ${pass}\n${text}\n`),
    },
  });
  const warnings = compiled.diagnostics.filter((d) => d.severity === 'warning');
  if (flags.failOn === 'warning' && warnings.length > 0) {
    return { exitCode: exitCodes.requirement, result: { written: [] }, diagnostics: compiled.diagnostics };
  }
  const files = new Map(compiled.files);
  if (flags.emit?.includes('node')) {
    const { nodeFiles } = await import('../../../runtime/node/declarations.js');
    for (const [name, text] of nodeFiles(compiled.manifest)) files.set(name, text);
  }
  if (!dryRun) writeOrExplain(files, output!);
  if (flags.timePasses) {
    for (const p of compiled.passRuns) terminal.note(`${(p.milliseconds ?? 0).toFixed(1).padStart(9)} ms  ${p.name}${p.changed ? '' : ' (no change)'}`);
  }

  const { manifest } = compiled;
  const statuses = countBy(manifest.layers.map((l) => l.status));
  terminal.print(`${dryRun ? 'would write' : 'wrote'} ${files.size} files${dryRun ? '' : ` to ${output}`} (${formatBytes([...files.values()].reduce((s, f) => s + Buffer.byteLength(f), 0))})`);
  terminal.print(`layers    ${manifest.layers.length}: ${[...statuses].map(([s, n]) => `${n} ${s}`).join(', ') || 'none'}`);
  terminal.print(`work      ${manifest.macs.toLocaleString('en-US')} multiply-adds${manifest.nonZeroMacs < manifest.macs ? `, ${manifest.nonZeroMacs.toLocaleString('en-US')} with a weight that is not zero` : ''}`);
  terminal.print(`memory    ${formatBytes(manifest.arenaBytes)} working memory (${formatBytes(manifest.unsharedBytes)} if nothing were shared), ${formatBytes(manifest.weightBytes)} weights${manifest.codeBytes > 0 ? `, ${formatBytes(manifest.codeBytes)} straight-line code and tables with weights in them` : ''}`);
  return {
    result: {
      output: output ?? null, target: manifest.target, name: manifest.name, written: dryRun ? [] : [...files.keys()], macs: manifest.macs, nonZeroMacs: manifest.nonZeroMacs, codeBytes: manifest.codeBytes,
      arenaBytes: manifest.arenaBytes, unsharedBytes: manifest.unsharedBytes, weightBytes: manifest.weightBytes,
      layerStatus: Object.fromEntries(statuses), ...(flags.timePasses ? { passes: compiled.passRuns } : {}),
    },
    diagnostics: compiled.diagnostics,
  };
};

/** A folder that cannot be written is the user's to mend, not a bug. */
function writeOrExplain(files: CompileResult['files'], dir: string): void {
  try {
    writeFiles(files, dir);
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw new SpcError([{ code: 'SPC6003', severity: 'error', message: `cannot write to ${dir}: ${error.message}`, hint: 'name a folder that can be made or written' }]);
  }
}

function countBy(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}
