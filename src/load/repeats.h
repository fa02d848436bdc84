/*
 * repeats.h
 *	  Do rows that a statement reads have keys of their own?  Private to the room.
 */
#ifndef ACTIVATE_REPEATS_H
#define ACTIVATE_REPEATS_H

/*
 * From begin to end activate._take_key() notes the keys of the statement that is
 * executed, and activate._keys_repeat() says whether one of them was NULL or came
 * twice, or might have: then the statement looks for itself.  Nested.
 */
extern void repeats_begin(void);
extern void repeats_end(void);

#endif							/* ACTIVATE_REPEATS_H */
