// The GitHub Action and the command line in one file. The runner starts it without arguments; the action
// starts it again with those of a command.
const args = process.argv.slice(2);
if (args.length === 0) {
  const { runAction } = await import('./action.ts');
  process.exitCode = await runAction(process.env);
} else {
  const { runProcess } = await import('../run.ts');
  await runProcess(args);
}
