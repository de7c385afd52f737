/**
 * What makes a build folder importable from TypeScript: `<name>.d.ts` with the model's own types (written with ts-morph, so that
 * any tensor name becomes a valid property), and a loader. package.json marks the folder as ES modules.
 */
import { IndentationText, Project, QuoteKind, VariableDeclarationKind, Writers, type WriterFunction } from 'ts-morph';
import { dtypes, type DType } from '../../compiler/ir/dtype.js';
import type { Manifest, Port } from '../../compiler/manifest.js';

/** How the elements are stored, where the array's type does not say it. */
const storage: { readonly [D in DType]?: string } = { f16: ', IEEE binary16 bit patterns', bf16: ', bfloat16 bit patterns', bool: ', 0 or 1' };

const typeName = (name: string): string => {
  const pascal = name.split(/_+/).filter(Boolean).map((w) => w[0]!.toUpperCase() + w.slice(1)).join('');
  return /^[A-Za-z]/.test(pascal) ? pascal : `Model${pascal}`;
};

const portType = (ports: readonly Port[]): WriterFunction => Writers.objectType({
  properties: ports.map((p) => ({
    name: /^[A-Za-z_$][\w$]*$/.test(p.name) ? p.name : JSON.stringify(p.name), isReadonly: true, type: dtypes[p.dtype as DType].array.name,
    docs: [`${p.dtype}[${p.shape.join(', ')}], row-major${storage[p.dtype as DType] ?? ''}`],
  })),
});

/** @returns text by file name, relative to the build folder */
export function nodeFiles(manifest: Pick<Manifest, 'name' | 'inputs' | 'outputs'>): ReadonlyMap<string, string> {
  const type = typeName(manifest.name), loader = `load${type}`;
  const project = new Project({ useInMemoryFileSystem: true, manipulationSettings: { quoteKind: QuoteKind.Single, indentationText: IndentationText.TwoSpaces } });
  const declarations = project.createSourceFile(`${manifest.name}.d.ts`);
  declarations.addImportDeclaration({ moduleSpecifier: 'spc', namedImports: ['LoadOptions', 'LoadedModel'], isTypeOnly: true });
  declarations.addInterface({
    name: type, isExported: true, docs: [`Inputs and outputs of the model ${manifest.name}.`],
    properties: [
      { name: 'inputs', isReadonly: true, type: portType(manifest.inputs) },
      { name: 'outputs', isReadonly: true, type: portType(manifest.outputs) },
    ],
  });
  declarations.addFunction({
    name: loader, isExported: true, hasDeclareKeyword: true, docs: ['Loads the model of this folder; the first time, its C is built.'],
    parameters: [{ name: 'options', hasQuestionToken: true, type: 'LoadOptions' }], returnType: `Promise<LoadedModel<${type}>>`,
  });

  const module = project.createSourceFile(`${manifest.name}.js`);
  module.addImportDeclaration({ moduleSpecifier: 'node:url', namedImports: ['fileURLToPath'] });
  module.addImportDeclaration({ moduleSpecifier: 'spc', namedImports: ['load'] });
  module.addVariableStatement({
    isExported: true, declarationKind: VariableDeclarationKind.Const,
    declarations: [{ name: loader, initializer: "(options) => load(fileURLToPath(new URL('.', import.meta.url)), options)" }],
  });
  for (const file of [declarations, module]) {
    file.insertStatements(0, '// Written by spc. Do not edit: compile the model again.');
    file.formatText({ indentSize: 2 });
  }
  return new Map([
    [`${manifest.name}.d.ts`, declarations.getFullText()], [`${manifest.name}.js`, module.getFullText()],
    ['package.json', `${JSON.stringify({ private: true, type: 'module', main: `${manifest.name}.js`, types: `${manifest.name}.d.ts` }, null, 2)}\n`],
  ]);
}
