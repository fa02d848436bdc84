/*
 * hooks.c
 *	  When the buffer is written: so early that the transaction finds its own
 *	  intents in activate.outbox, so late that a statement is one batch.
 *
 * Row triggers fire before ExecutorFinish of their statement ends, those of
 * COPY and TRUNCATE before ProcessUtility does.  What is left (the library
 * was loaded in the middle of a statement, so these hooks were not in its
 * way) is written before the next statement is analysed, or before COMMIT.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "outbox/buffer.h"
#include "parser/analyze.h"
#include "tcop/utility.h"

static ExecutorFinish_hook_type previous_finish = NULL;
static ProcessUtility_hook_type previous_utility = NULL;
static post_parse_analyze_hook_type previous_analyze = NULL;

static void
outbox_finish(QueryDesc *query)
{
	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
	outbox_flush();
}

static void
outbox_utility(PlannedStmt *statement, const char *source, bool read_only_tree,
			   ProcessUtilityContext context, ParamListInfo params,
			   QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	if (previous_utility)
		previous_utility(statement, source, read_only_tree, context, params,
						 environment, dest, completion);
	else
		standard_ProcessUtility(statement, source, read_only_tree, context, params,
								environment, dest, completion);
	/* ROLLBACK leaves no transaction that could be written in */
	if (outbox_buffered() && IsTransactionState())
		outbox_flush();
}

static void
outbox_analyze(ParseState *pstate, Query *query, JumbleState *jstate)
{
	if (previous_analyze)
		previous_analyze(pstate, query, jstate);
	if (outbox_buffered())
	{
		outbox_flush();
		/* for the statement that is about to run */
		CommandCounterIncrement();
	}
}

void
outbox_hooks_init(void)
{
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = outbox_finish;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = outbox_utility;
	previous_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = outbox_analyze;
}
