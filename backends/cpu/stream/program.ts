export * from '../../../compiler/kir/stream.js';
