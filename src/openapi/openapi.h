/*
 * openapi.h
 *	  Private to the room: a connector definition out of an OpenAPI document.
 *
 * What vendors publish is believed in nothing: references may lead nowhere or
 * in circles, schemas may be of any size, anything may be of another type than
 * the standard says.  So what is looked at is counted (openapi_spend()), and
 * what is no use becomes a gap with its reason.
 *
 *		document.c	members, references, the budget of work, gaps
 *		type.c		a schema as a column's type
 *		schema.c	the fields of an object's schema
 *		body.c		the body of a request: its format, where rows stand in it
 *		path.c		the paths of a document, by what they are about
 *		column.c	fields as columns of an object
 *		object.c	one object: its columns, key and operations
 *		write.c		an operation that writes
 *		read.c		how it is read, and paged
 *		answer.c	what the answer to an operation says
 *		whole.c		what holds for all: servers, secrets, headers
 *		print.c		the definition as JSON
 *		sql.c		activate_openapi()
 */
#ifndef ACTIVATE_OPENAPI_H
#define ACTIVATE_OPENAPI_H

#include "connector/connector.h"
#include "connector/definition.h"
#include "template/template.h"
#include "utils/jsonb.h"

/* Some member of the document; jbvNull: there is none. */
typedef JsonbValue OpenapiNode;

/* What the document does not tell, or told to no use. */
typedef struct OpenapiGap
{
	const char *at;				/* dotted path of the member of the definition that would fill it */
	const char *gap;
	const char *example;		/* JSON; NULL: none */
	const char *assumed;		/* what is there meanwhile; NULL: nothing */
} OpenapiGap;

typedef struct OpenapiDocument
{
	OpenapiNode root;
	bool		swagger;		/* version 2.0 */
	int			work;			/* schemas and members that may still be looked at for the present object ... */
	int			left;			/* ... and for all others after it */
	MemoryContext context;		/* as long as the import lasts */
	List	   *gaps;			/* OpenapiGap *; in context */
	List	   *headers;		/* char *, names and values in turn: constants that operations want */
} OpenapiDocument;

/* document.c */
extern OpenapiNode openapi_root(Jsonb *json);
extern OpenapiNode openapi_get(const OpenapiNode *from, const char *name);
extern bool openapi_is_object(const OpenapiNode *node);
extern bool openapi_is_array(const OpenapiNode *node);
/* NULL: absent, or no text (number, boolean); of the member, or of the node itself */
extern char *openapi_text(const OpenapiNode *from, const char *name);
extern char *openapi_scalar(const OpenapiNode *node);
extern bool openapi_true(const OpenapiNode *from, const char *name);
extern int	openapi_int(const OpenapiNode *from, const char *name);	/* 0: none, or none that is usable */
/* What a reference, if it is one, leads to in this document; jbvNull: nowhere. */
extern OpenapiNode openapi_resolve(OpenapiDocument *document, OpenapiNode node);
/* Before a schema is looked at: false if that was enough. */
extern bool openapi_spend(OpenapiDocument *document);
extern void openapi_spend_more(OpenapiDocument *document, int64 much);
/* Members or elements, of which each is spent; none if that was enough. */
extern DefinitionMember *openapi_members(OpenapiDocument *document, const OpenapiNode *node, int *n);
extern OpenapiGap *openapi_gap(OpenapiDocument *document, const char *at, const char *example, const char *format,...) pg_attribute_printf(4, 5);
/* A name without case, "_" and the like, for comparing. */
extern char *openapi_plain(const char *name);
extern char *openapi_step(const char *name);
extern char *openapi_json_plain(const char *text);
extern bool openapi_one_of(const char *name, const char *const *names);

/* type.c */
typedef enum OpenapiKind
{
	OPENAPI_ANY, OPENAPI_OBJECT, OPENAPI_ARRAY, OPENAPI_STRING, OPENAPI_INTEGER, OPENAPI_NUMBER, OPENAPI_BOOLEAN
} OpenapiKind;

typedef struct OpenapiType
{
	OpenapiKind kind;
	const char *sql;
	const char *date;			/* as a column's member "date"; NULL: none */
	const char *as;				/* the same */
	bool		nullable;
	bool		null;			/* nothing but null */
	bool		readonly;
	bool		binary;			/* a file */
	bool		required;		/* Swagger's parameters say so themselves */
	int			max_length;		/* 0: not said */
	int			max_items;
	List	   *values;			/* char *; NIL: any */
	OpenapiNode items;			/* of an array */
} OpenapiType;

extern void openapi_type(OpenapiDocument *document, const OpenapiNode *schema, OpenapiType *type);
/* One place for values of both: the type that takes them. */
extern void openapi_type_unite(OpenapiType *type, const OpenapiType *other);

/* schema.c */
typedef struct OpenapiField
{
	const char *name;
	const char *path;			/* NULL: the member of that name */
	OpenapiType type;
	OpenapiNode schema;
	bool		required;
} OpenapiField;

/* More than a table may have are left out. */
#define OPENAPI_FIELDS	1000

typedef struct OpenapiFields
{
	int			n;
	int			size;
	OpenapiField *fields;
} OpenapiFields;

extern void openapi_fields(OpenapiDocument *document, const OpenapiNode *schema, OpenapiFields *fields);
extern OpenapiField *openapi_field(const OpenapiFields *fields, const char *name);
extern OpenapiField *openapi_add_field(OpenapiFields *fields, const char *name);
/* JSON:API: the attributes are the row's.  The member "type" of each object, in *type; false: it is none of these. */
extern bool openapi_attributes(OpenapiDocument *document, OpenapiFields *fields, char **type);

/* body.c */
typedef struct OpenapiBody
{
	const char *unusable;		/* why; NULL: it is usable */
	bool		none;			/* there is none */
	const char *format;			/* NULL: JSON */
	const char *content_type;	/* NULL: the usual one */
	char	   *envelope;		/* NULL: none */
	int			batch;			/* 0: single rows */
	bool		guessed;		/* the batch */
	bool		attributes;		/* the columns stand in "attributes" */
	char	   *type;			/* of JSON:API */
	OpenapiFields fields;		/* of a row */
	List	   *beside;			/* char *: optional fields beside the rows */
	List	   *fixed;			/* char *: paths and texts in turn, beside the rows */
} OpenapiBody;

/* about: what the path is about, as it names it */
extern void openapi_body(OpenapiDocument *document, const OpenapiNode *operation, const OpenapiNode *shared,
						 const char *about, OpenapiBody *body);
/* The schema of JSON in "content", or of Swagger; jbvNull: there is none. */
extern OpenapiNode openapi_json_schema(OpenapiDocument *document, const OpenapiNode *from);

/* path.c */
typedef struct OpenapiPath
{
	const char *path;			/* as the document has it */
	char	   *about;			/* what it is about, without names of parameters: paths that say the same belong together */
	bool		item;			/* it ends with the name of one */
	OpenapiNode node;
} OpenapiPath;

/* All paths, in the order of what they are about. */
extern OpenapiPath *openapi_paths(OpenapiDocument *document, int *n);
extern char *openapi_path_name(const char *about);
extern char *openapi_path_last(const char *about);
extern List *openapi_path_parameters(const char *path);
/* A text as an identifier in lower case. */
extern char *openapi_identifier(const char *text);

/* column.c */
typedef struct OpenapiColumn
{
	const char *name;
	const char *path;			/* NULL: the member of that name */
	const char *field;			/* as the document calls it */
	OpenapiType type;
	bool		written;		/* by some operation, in its body */
	bool		read;
	bool		required;
	bool		optional;		/* to some operation that makes rows */
} OpenapiColumn;

typedef struct OpenapiOperation
{
	const char *name;			/* insert, update, upsert, delete; NULL: there is none */
	const char *method;
	const OpenapiPath *from;
	const char *path;			/* template */
	OpenapiBody body;
	List	   *columns;		/* OpenapiColumn *, in the body */
	List	   *query;			/* char *: names and templates in turn */
	bool		idempotent;
	const char *id;				/* paths in the answer; NULL: not there */
	const char *ok;
	const char *error;
} OpenapiOperation;

/* A parameter of the query that takes values of a column. */
typedef struct OpenapiFilter
{
	const char *column;
	const char *param;
	bool		list;			/* several: */
	const char *separator;		/* what stands between them; NULL: the parameter is repeated */
	int			most;			/* 0: not said */
} OpenapiFilter;

typedef struct OpenapiRead
{
	bool		possible;
	const char *path;
	const char *records;
	bool		attributes;
	List	   *query;			/* char *: names and constants in turn */
	List	   *filter;			/* OpenapiFilter *: the parameters that have to have a value */
	List	   *parameters;		/* of the operation */
	const char *style;			/* NULL: no paging was recognised */
	const char *param;
	const char *next;
	const char *size_param;
	int			size;
	int			first;			/* -1: the usual */
} OpenapiRead;

#define OPENAPI_OPERATIONS	4

typedef struct OpenapiObject
{
	const char *name;
	const char *about;
	const OpenapiPath *list;	/* the path of all; NULL: none */
	const OpenapiPath *item;	/* the path of one; NULL: none */
	int			ncolumns;
	OpenapiColumn *columns[OPENAPI_FIELDS];
	List	   *key;			/* OpenapiColumn * */
	const char *item_path;		/* its template; NULL: there is no path of one */
	OpenapiRead read;
	OpenapiOperation operations[OPENAPI_OPERATIONS];
	int			noperations;
	List	   *unusable;		/* char *: names of operations and the reasons why not, in turn */
} OpenapiObject;

extern OpenapiColumn *openapi_column(OpenapiObject *object, const OpenapiField *field);
/* The same of what is read only, or as well. */
extern void openapi_column_read(OpenapiObject *object, const OpenapiField *field);
/* The column of a parameter of a path, which may be a field of the row; last: names the row itself. */
extern OpenapiColumn *openapi_column_of_parameter(OpenapiDocument *document, OpenapiObject *object, const char *name,
												  const OpenapiNode *parameter, bool last);

/* write.c; what it needs beside the body, when the columns are known: false if that cannot be given */
extern bool openapi_write_place(OpenapiDocument *document, OpenapiObject *object, OpenapiOperation *operation);
/* The parameters of an operation and of its path, resolved; "in" and name decide. */
extern OpenapiNode openapi_parameter(OpenapiDocument *document, const OpenapiNode *operation, const OpenapiNode *shared,
									 const char *in, const char *name);
extern List *openapi_parameters(OpenapiDocument *document, const OpenapiNode *operation, const OpenapiNode *shared);
/* What a parameter is unless said otherwise; NULL: not told.  Of Swagger it is its own schema. */
extern char *openapi_parameter_constant(OpenapiDocument *document, const OpenapiNode *parameter, bool required);
extern OpenapiNode openapi_parameter_schema(OpenapiDocument *document, const OpenapiNode *parameter);
extern void openapi_write(OpenapiDocument *document, OpenapiObject *object, const OpenapiPath *path, const char *method,
						  const char *name);
extern bool openapi_makes_or_changes(const OpenapiNode *operation, const char *about);
extern bool openapi_only_looks(const OpenapiNode *operation, const char *about);

/* read.c */
extern void openapi_read(OpenapiDocument *document, OpenapiObject *object);
extern void openapi_read_place(OpenapiDocument *document, OpenapiObject *object);

/* answer.c */
extern OpenapiNode openapi_answer_schema(OpenapiDocument *document, const OpenapiNode *operation, OpenapiNode *response);
extern void openapi_answer(OpenapiDocument *document, const OpenapiNode *operation, OpenapiOperation *write);

/* object.c: false if there is nothing to read or to write */
extern bool openapi_object(OpenapiDocument *document, OpenapiObject *object);
/* The template of a path, with columns for its parameters. */
extern char *openapi_object_path(OpenapiDocument *document, OpenapiObject *object, const OpenapiPath *path, List **columns);

/* whole.c: members of the definition, each with a comma before it */
extern void openapi_whole(OpenapiDocument *document, StringInfo out, const char *base_url);

/* print.c */
extern void openapi_print_filter(StringInfo out, const OpenapiFilter *filter);
extern void openapi_print_object(StringInfo out, const OpenapiObject *object);
extern void openapi_print_gaps(StringInfo out, List *gaps);
/* A member of an object: the comma before it, its name, and its text if it is one (NULL: no member). */
extern void openapi_print_name(StringInfo out, const char *name);
extern void openapi_print_member(StringInfo out, const char *name, const char *text);

#endif							/* ACTIVATE_OPENAPI_H */
